"""A plugin of pytest. Of Hypothesis the same examples each time, no deadline that a loaded machine could miss in a guard's place,
and no search for the smallest example of a failure."""

from hypothesis import Phase, settings

settings.register_profile("mutants", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate))
