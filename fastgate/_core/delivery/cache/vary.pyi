# Nothing of this module is seen by Python: it is cimported. See `fastgate._core.probes.cache_rules`.
