"""Names and what the catalogue knows of them: models, weights, data sets, recipes, results, plugins. No torch."""
