"""The part of the operator's command ``factorygate`` that reads the configuration of both hub and link."""
