// Holds nothing: it exists so that the precompiled header of the torch rooms has a target.
