"""The built-in policies, one file each. None knows another."""
