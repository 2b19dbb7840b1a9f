"""Who may use which data project of F&O: taken before a submit, kept until the execution has ended."""
