"""Between the optimizer and its model: what is asked, what is remembered, how replies are read."""
