"""What a notice says: data in, a text out, in the language of who reads it. Pure.

It is the best wording that fits in one part of an SMS. What has none that does is told in full.
"""

from collections.abc import Mapping, Sequence

from popolni.core.language import Language
from popolni.notices import model
from popolni.notices.chinese import Chinese
from popolni.notices.english import English
from popolni.notices.parts import count
from popolni.notices.russian import Russian
from popolni.notices.speech import Speech

SPEECHES: Mapping[Language, Speech] = {
    speech.language: speech for speech in (Russian(), English(), Chinese())
}


def text_of(data: model.Data, language: Language) -> str:
    """The text."""
    wordings = _wordings(SPEECHES[language], data)
    fitting = next((wording for wording in wordings if count(wording) == 1), None)
    if isinstance(data, model.Balance):  # what is asked for is told, if there is a way to
        return (fitting or wordings[-1]) if data.is_short else wordings[0]
    return fitting or wordings[0]


def _wordings(speech: Speech, data: model.Data) -> Sequence[str]:
    wordings: Sequence[str]
    match data:
        case model.ToppedUp():
            wordings = speech.topped_up(data)
        case model.LowBalance():
            wordings = speech.low_balance(data)
        case model.AllowanceNearlyUsed():
            wordings = speech.allowance(data)
        case model.PlanEnds():
            wordings = speech.plan_ends(data)
        case model.SignInCode():
            wordings = speech.sign_in_code(data)
        case model.Balance():
            wordings = speech.balance(data)
        case _:
            wordings = speech.no_balance()
    return wordings
