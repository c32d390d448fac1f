"""Recipes from what people have today: commands, files of other tools, recipes for the other engine.

Pure but for the files that are named. Nothing is lost in silence: what a recipe cannot hold becomes a
comment.
"""
