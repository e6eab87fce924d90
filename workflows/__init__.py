"""Durable execution, thin: Temporal runs what controller.model.machine decides. Begin at release."""
