"""Writers of report files: one module for each family of formats."""
