"""Runs a small program that a model wrote, behind two walls.

    syntax        an allow-list over the syntax tree (`syntax`), and look-alikes of the few modules it may import
    confinement   a process of its own: limits on time, memory, files and processes, nothing in its environment or
                  folder, a system-call filter (`confinement`, `seccomp`)

`pool.Sandbox` is what the application uses. It keeps *nurseries*: helper processes that fork a fresh child for every
program, so that no program sees what another left. This package imports nothing at its top: a nursery runs without
site-packages.
"""
