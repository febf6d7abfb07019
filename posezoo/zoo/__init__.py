"""Names to models to weights: blueprints, building, saving, finding, conversion, export."""
