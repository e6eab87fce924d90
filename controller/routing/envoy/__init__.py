"""The data plane that ships: real Envoy, told by one delta xDS stream and counted through its admin socket."""
