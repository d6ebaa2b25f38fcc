"""Texts for the speech benchmark, spoken by espeak-ng, so that the reference is exact."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spoken:
    """`voice` of espeak-ng, `pace` in words per minute, `language` as ISO 639-1 code."""

    text: str
    voice: str = "en-us"
    pace: int = 165
    language: str = "en"


LONG = Spoken(
    "Good afternoon and welcome to the weekly meeting of the garden club. Today we want to talk "
    "about three things. The first is the new greenhouse, which was finished last Friday after "
    "nearly four months of work. The second is the annual flower show, which will take place in "
    "the town hall. The third is the budget for the coming year. The greenhouse cost a little "
    "more than we expected, because the price of glass went up in the spring. However, several "
    "members gave their time for free, and a local company lent us the tools that we needed. We "
    "have already planted tomatoes, cucumbers and a small lemon tree in the warm corner near the "
    "door. For the flower show we still need volunteers. Someone has to collect the tables from "
    "the church, and two people should stand at the entrance to sell tickets. Last year many "
    "visitors came, and most of them also bought a plant or a piece of cake. If the weather is "
    "good, we will put some chairs outside in the yard. "
    "Before we come to the budget, let me say a few words about the old orchard behind the "
    "school. The trees are more than sixty years old, and many of them have not been cut for a "
    "long time. In the winter a strong wind broke two of the largest branches, and one of them "
    "fell on the fence. Nobody was hurt, but the school options us to make the place safe before "
    "the children come back. We walked through the orchard with a forester last week. He said "
    "that most of the apple trees are healthy and will carry fruit for many more years, if we "
    "take out the dead wood in the autumn. Two pear trees near the road are sick and have to go. "
    "In their place we would like to plant young cherry trees, because the birds and the children "
    "both enjoy them. The town will pay for the trees, but we have to do the digging ourselves. "
    "Now to the budget. At the beginning of the year we had a little money left from the plant "
    "sale in May. The members paid their yearly fee, and the bank in the market street gave us a "
    "small present. Most of this money went into the greenhouse. We also bought a new water "
    "pump, because the old one stopped working in the middle of the summer. For the next year we "
    "expect to spend less. The largest part will be the heating of the greenhouse during the cold "
    "months, and we are looking for ways to keep this small. One member offered to build a stove "
    "that burns wood from the orchard. Another suggested that we cover the glass with straw at "
    "night. Both ideas are worth a try. Finally, I would like to thank everyone who helped during "
    "the last months. Without your patience and your hard work this garden would be an empty "
    "field. After the meeting there is tea and cake in the kitchen, and the children have made a "
    "picture of the greenhouse that you should not miss. Our next meeting is on the first Tuesday "
    "of the month, at seven in the evening, in the same room. Please bring a friend, and do not "
    "forget your boots, because we will plant the first cherry trees together.",
    pace=145,
)  # fmt: skip

SHORT = (
    Spoken(
        "The train to London leaves from platform four in twenty minutes. Please keep your "
        "luggage with you at all times, and have your ticket ready before you walk through the "
        "gate at the end of the hall.", "en-us", 160),
    Spoken(
        "Yesterday we walked along the river and talked about the weather, the garden and the "
        "price of bread. In the evening it began to rain, so we went home and cooked a large pot "
        "of soup for everyone.", "en-gb", 160),
    Spoken(
        "The doctor will see you on Thursday morning at half past nine. Please bring the letter "
        "from the hospital, and do not eat anything before you come. If you feel worse, call us "
        "at any time of the day.", "en-us+m3", 160),
    Spoken(
        "Our bakery opens at six in the morning and closes when the last bread is sold. On "
        "Saturdays we also make small cakes with apples and nuts, and many people stand in line "
        "before the door is open.", "en-us+f3", 160),
    Spoken(
        "Three children found an old wooden boat in the forest near the lake. They painted it "
        "blue and white, gave it a name, and spent the whole summer on the water, although none "
        "of them could swim very well.", "en-gb-x-rp", 160),
    Spoken(
        "The library has moved to the second floor of the building next to the theatre. You can "
        "return your books at the desk near the stairs, and the reading room stays open until "
        "eight in the evening.", "en-us+m7", 160),
    Spoken(
        "Guten Morgen und herzlich willkommen. Heute ist das Wetter sehr schön, und wir gehen in "
        "den Park. Am Nachmittag essen wir ein Eis, und am Abend besuchen wir unsere Freunde in "
        "der kleinen Stadt am See.", "de", 150, "de"),
    Spoken(
        "Der Zug nach Berlin fährt heute von Gleis sieben und hat zehn Minuten Verspätung. Bitte "
        "achten Sie auf Ihr Gepäck. In der Mitte des Zuges gibt es einen Wagen, in dem Sie etwas "
        "essen und trinken können.", "de+f2", 150, "de"),
)  # fmt: skip
"""Eight different recordings of about 12 seconds."""
