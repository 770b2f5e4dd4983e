"""The operator's command ``factorygate``: what needs the configuration of hub and link."""
