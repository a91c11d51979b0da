"""The arithmetic of ARDS: clusters, worst-case members, information scores, mixture. Arrays in, arrays out."""
