"""What HTTP says of a cache: directives, freshness, keys, conditions. No module here has a store or reads a clock."""
