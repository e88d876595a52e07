"""People rate answers without knowing whose they are: the page, what it keeps, and how far raters and judge agree."""
