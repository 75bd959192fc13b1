"""OpenDAL's operators for one set of options, made again for new credentials and for the bucket's region.

An operator of OpenDAL keeps the credentials that it was made with. So new ones need a new operator; calls
that still use the old one end with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

from opendal import AsyncOperator, Operator
from opendal.layers import RetryLayer

from opendalfs.aws import DefaultRegion
from opendalfs.error_translation import other_region

from .credentials import LiveCredentials, placeholder

__all__ = ["Build", "Generation", "OperatorGenerations"]

Build = Callable[[Mapping[str, str]], AsyncOperator]
"""Makes OpenDAL's operator, without retries, from credentials beside the other options."""


class Generation:
    """The operators that use the same credentials.

    Parameters
    ----------
    number : int
        Number of the credentials, from `LiveCredentials`; 0 if there are none.
    async_operator : AsyncOperator
        OpenDAL's asynchronous operator, without retries.
    layer : RetryLayer, optional
        For the operator that retries by itself; None if it must not.
    region : str, optional
        The region that requests are signed for, where the service has regions.
    """

    def __init__(
        self, number: int, async_operator: AsyncOperator, layer: RetryLayer | None, region: str | None
    ) -> None:
        self.number = number
        self.region = region
        self.async_operator = async_operator
        self._layer = layer

    @cached_property
    def operator(self) -> Operator:
        """The blocking operator; made within the first call, as it starts the threads that a fork loses."""
        return self.async_operator.to_operator()

    @cached_property
    def stateful_operator(self) -> AsyncOperator:
        """The asynchronous operator for what has a state in OpenDAL, where OpenDAL itself must retry."""
        return self.async_operator if self._layer is None else self.async_operator.layer(self._layer)


class OperatorGenerations:
    """The newest generation of operators.

    Parameters
    ----------
    build : callable
        Makes the operator.
    layer : RetryLayer, optional
        As for `Generation`.
    credentials : LiveCredentials, optional
        Of a credential provider; None if the options hold all that is needed.
    container : str
        The container that the credentials are for.
    region : str, optional
        The region in the options.

    Attributes
    ----------
    assumes_region : bool
        Whether the region is a default, and no response has named another one.
    """

    def __init__(
        self,
        build: Build,
        layer: RetryLayer | None,
        credentials: LiveCredentials | None = None,
        container: str = "",
        region: str | None = None,
    ) -> None:
        self.credentials = credentials
        self.region = region
        self.assumes_region = isinstance(region, DefaultRegion)
        self._build = build
        self._layer = layer
        self._container = container
        # What a service can do does not depend on the values of credentials, which take a request to get.
        options = placeholder(credentials.service) if credentials is not None else {}
        self._newest = Generation(0, build(options), layer, region)

    def newest(self) -> Generation:
        """Return the operators with the newest credentials that there are."""
        found, credentials = self._newest, self.credentials
        number = found.number if credentials is None else credentials.number
        if number == found.number and self.region == found.region:
            return found
        # Two threads may both make them, which does no harm.
        options: Mapping[str, str] = {}
        if credentials is not None:
            number, options = credentials.options(self._container)
        region = self.region
        following = {} if region is None else {"region": region}
        self._newest = Generation(number, self._build({**options, **following}), self._layer, region)
        return self._newest

    def follow_region(self, text: str, used: Generation) -> bool:
        """Whether a request failed as its bucket is in another region than the default one.

        Further requests then go to that region.

        Parameters
        ----------
        text : str
            OpenDAL's error.
        used : Generation
            The operators of the request.
        """
        if not isinstance(used.region, DefaultRegion):
            return False
        found = other_region(text, used.region)
        if found is None:
            return False
        self.region, self.assumes_region = found, False
        return True

    def replace_pool(self) -> None:
        """Make the operators again, with a connection pool of their own."""
        self._newest = Generation(self._newest.number, self._build({}), self._layer, self.region)
