"""Who answers: targets, their choice and their state, tries, what runs beside them."""
