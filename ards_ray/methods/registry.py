"""The methods that there are, and the settings of all of them."""

from collections.abc import Mapping
from dataclasses import field, make_dataclass

from ards_ray import config
from ards_ray.errors import SettingsError
from ards_ray.methods.ards.method import Ards
from ards_ray.methods.balanced import Balanced
from ards_ray.methods.choice_first import ChoiceFirst
from ards_ray.methods.full import Full
from ards_ray.methods.like import Like
from ards_ray.methods.method import Method
from ards_ray.methods.random import Random
from ards_ray.methods.stratified import Stratified

METHODS: Mapping[str, Method] = {
    method.name: method for method in (Ards(), Balanced(), ChoiceFirst(), Full(), Like(), Random(), Stratified())
}

# The settings that every method shares, and a section for each method that has settings of its own.
Settings: type[config.Settings] = make_dataclass(
    "Settings",
    [
        (method.name, method.section, field(default_factory=method.section))
        for method in METHODS.values()
        if method.section is not None
    ],
    bases=(config.Settings,),
    frozen=True,
    # By which a worker finds the class again.
    namespace={"__module__": __name__, "__doc__": config.Settings.__doc__},
)


def methods_of(settings: config.Settings) -> list[Method]:
    """The methods that settings name, in their order.

    Raises:
        SettingsError: none is named, one is unknown, or one is named twice.
    """
    names = settings.methods
    for name in names:
        if name not in METHODS:
            raise SettingsError(f"methods: no method {name!r}; there are {', '.join(METHODS)}")
        if names.count(name) > 1:
            raise SettingsError(f"methods: {name} stands there twice")
    if not names:
        raise SettingsError(f"methods: none is named; there are {', '.join(METHODS)}")
    return [METHODS[name] for name in names]
