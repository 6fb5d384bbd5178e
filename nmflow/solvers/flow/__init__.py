"""The default method: exact min-cost flow, the same mask on every machine.

Read :mod:`method` first: it tells the three stages and calls them. :mod:`simd_engine` solves nearly
all tiles, 32 side by side; :mod:`scalar` is the fallback, tile by tile, and the plainer text of the
same algorithm; :mod:`tiers` leaves to it what is too little to compile for. :mod:`tracked_batch`
and :mod:`warm_window` solve the same matrices again and again, each time from the last solve's
potentials.
"""
