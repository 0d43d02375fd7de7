"""How good the suggestions are: labelled incidents against what a model says, through the whole of Tollgate."""
