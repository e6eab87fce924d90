"""The sample shop and everything a service needs to be observed. Imports nothing of ours."""
