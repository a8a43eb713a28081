"""The built-in policies, one module each. None knows another; `chain` is the table of them all."""
