"""The storefront: the door of the shop. Every user request starts here."""
