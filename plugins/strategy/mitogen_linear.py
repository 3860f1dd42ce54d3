"""Mitogen's strategy, found from the project's own plugins: ``ANSIBLE_STRATEGY=mitogen_linear``, docs/how-to/own-box.md."""

import ansible_mitogen.loaders
import ansible_mitogen.strategy


class StrategyModule(
    ansible_mitogen.strategy.StrategyMixin,
    ansible_mitogen.loaders.strategy_loader.get("linear", class_only=True),
):
    """As Mitogen's plugin of the same name, which Ansible would have to be told the place of."""
