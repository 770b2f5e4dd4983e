"""The models of the service's API: what people send (``bodies``), and what they get (``views``)."""
