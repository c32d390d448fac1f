"""Programs that are copied to where they run, never installed, and import nothing of enginebuild.

`probe.py` runs inside the container of a server that is verified, by the standard library alone;
`lm_eval_tasks.py` in the environment that has lm-eval.
"""
