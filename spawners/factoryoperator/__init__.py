"""The part of the operator's command ``factorygate`` that needs the configuration of hub and link."""
