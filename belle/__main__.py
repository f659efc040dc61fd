"""`python -m belle` is the `belle` command; `torchrun -m belle sft ...` starts the same thing on many processes."""

from belle.cli import main

if __name__ == "__main__":
    main()
