"""All models of all rooms, where Django looks for them."""

from popolni.agents.models import Agent, Commission, Contract, Credential, Outlet
from popolni.agents.staff import User
from popolni.catalog.numbering.models import (
    Carrier,
    NumberingImport,
    NumberingRange,
    PortedNumber,
    Region,
)
from popolni.catalog.operators.models import (
    Branch,
    ChannelLimit,
    ComplianceProfile,
    MethodSetting,
    Operator,
)
from popolni.catalog.plans.models import Plan, PlanAllowance, PlanRate, PlanVersion
from popolni.catalog.promotions.models import Promotion, PromotionBudget
from popolni.notices.models import Notice, NoticePart, NoticeReceipt, Reminder
from popolni.readers.models import JobTurn, SetAside, TopUpHour
from popolni.readers.webhooks.models import Delivery, SendingTotal, Webhook
from popolni.reconciliation.models import (
    Difference,
    Elsewhere,
    Reconciliation,
    RegistryLayout,
    Settlement,
    UploadedPart,
    WrittenRegistry,
)
from popolni.subscribers.models import (
    Allowance,
    IdentityDocument,
    Number,
    RenewalProgress,
    Subscriber,
    Subscription,
)
from popolni.topups.models import Adjustment, BonusesDecided, SentForm

__all__ = [
    "Adjustment",
    "Agent",
    "Allowance",
    "BonusesDecided",
    "Branch",
    "Carrier",
    "ChannelLimit",
    "Commission",
    "ComplianceProfile",
    "Contract",
    "Credential",
    "Delivery",
    "Difference",
    "Elsewhere",
    "IdentityDocument",
    "JobTurn",
    "MethodSetting",
    "Notice",
    "NoticePart",
    "NoticeReceipt",
    "Number",
    "NumberingImport",
    "NumberingRange",
    "Operator",
    "Outlet",
    "Plan",
    "PlanAllowance",
    "PlanRate",
    "PlanVersion",
    "PortedNumber",
    "Promotion",
    "PromotionBudget",
    "Reconciliation",
    "Region",
    "RegistryLayout",
    "Reminder",
    "RenewalProgress",
    "SendingTotal",
    "SentForm",
    "SetAside",
    "Settlement",
    "Subscriber",
    "Subscription",
    "TopUpHour",
    "UploadedPart",
    "User",
    "Webhook",
    "WrittenRegistry",
]
