"""Plans and policies as people write them: strict parsing and the ready-made ones."""
