"""Write down what a run was made of, what it made, and how it was judged."""
