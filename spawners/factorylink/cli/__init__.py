"""The operator's command ``factorygate``."""
