"""What chapter 02's fit needs beyond the lesson, in plain Python. It imports the kit alone, and no chapter.

`drawing` is the ground: shapes as data. On it stand `nearest` and `tiles` (which shape can touch which pixels), and `document` with
`welding` and `judge` (the file, and what CairoSVG says of it). From a picture to shapes lead `regions`, `ink`, `skeleton` and `curves`,
which `trace` puts together. Where strokes are not enough, `patches` of colour get `outlines`, filled paths: `contours` makes them,
and `knots` gives them the points that they need. `edits` proposes other shapes for those of a drawing, and `finishing` puts a drawing
in order. What the lesson teaches is handed to those that need it: `trace` gets the painted canvas, the others the least squares (a
`Solver`).
"""
