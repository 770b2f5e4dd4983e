"""Brings a workshop's material into a person's folder, and updates it without losing anything of the person.

``python -P -m factorygate.material`` does so in a process of its own, which the door starts. The package imports no
third-party package.
"""
