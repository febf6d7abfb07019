"""Names, and what the catalogue says about them: models, weights, data sets, recipes, results, plugins. No torch."""
