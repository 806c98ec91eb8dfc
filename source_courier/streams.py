"""The streams of Courier, as facts."""

from source_courier.lists import CourierListStream


class Messages(CourierListStream):
    """One message that Courier sent or tried to send to one recipient.

    https://www.courier.com/docs/reference/sent-messages/list-messages
    """

    name = "messages"
    endpoint = "messages"
