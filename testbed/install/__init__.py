"""What the demo and the tests run on, brought into this checkout."""
