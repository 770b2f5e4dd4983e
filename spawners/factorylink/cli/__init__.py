"""The link's part of the operator's command ``factorygate``."""
