"""The pages of workshops; all but the room (the trainers' live page of a class) work without JavaScript."""
