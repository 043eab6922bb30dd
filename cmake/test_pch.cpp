// Holds nothing: it exists so that the precompiled header of the tests has a target.
