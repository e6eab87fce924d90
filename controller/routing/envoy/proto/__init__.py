"""The few messages of Envoy's API that we send; only field numbers and type URLs are the contract."""
