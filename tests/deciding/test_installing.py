"""What main.cf and master.cf become when popgate is installed, and what when it is taken out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.deciding.setups import OWN, service, setup, wanted
from tests.deciding.test_restrictions import values
from tracker.deciding.installing import applied, joined, plan
from tracker.deciding.restrictions import LISTS
from tracker.deciding.services import port_25, submission
from tracker.deciding.uninstalling import kept, unplan
from tracker.records import Edit, PostfixSetup
from tracker.writing.editing import commands
from tracker.writing.parameters import CLASSES, submission_options

RELAY = "smtpd_relay_restrictions"
DEBIAN = {RELAY: "permit_mynetworks permit_sasl_authenticated defer_unauth_destination"}


def installed(before: PostfixSetup, *services: str) -> tuple[PostfixSetup, list[Edit]]:
    edits = plan(before, wanted(*services))
    return applied(before, edits), edits


def test_debians_lists_get_our_words_and_the_unset_ones_are_made() -> None:
    after, _ = installed(setup(DEBIAN))
    assert after.main["smtpd_relay_restrictions"] == (
        "permit_mynetworks permit_sasl_authenticated, $popgate_clients defer_unauth_destination"
    )
    assert after.main["smtpd_sender_restrictions"] == "$popgate_permits, $popgate_sender_rules"
    assert after.main["smtpd_data_restrictions"] == "$popgate_permits, $popgate_mark"
    assert "smtpd_client_restrictions" not in after.main
    assert after.main["smtpd_restriction_classes"] == ", ".join(CLASSES)
    assert OWN.items() <= after.main.items()


def test_a_relay_list_that_is_not_set_is_set_to_what_is_in_force() -> None:
    after, _ = installed(setup({}))
    assert after.main["smtpd_relay_restrictions"] == (
        "permit_mynetworks, permit_sasl_authenticated, $popgate_clients, defer_unauth_destination"
    )


def test_the_admins_classes_stay() -> None:
    after, _ = installed(setup({"smtpd_restriction_classes": "greylist, strict"}))
    assert after.main["smtpd_restriction_classes"] == f"greylist, strict, {', '.join(CLASSES)}"


def test_a_parameter_for_all_who_are_known_stands_there_only_when_a_list_needs_it() -> None:
    known = "permit_mynetworks, permit_sasl_authenticated"
    lists = {f"smtpd_{name}_restrictions": known for name in ("sender", "data", "relay")}
    after, _ = installed(setup(lists | {"smtpd_relay_restrictions": f"{known}, reject"}))
    assert "popgate_permits" not in after.main
    assert "popgate_permits" in installed(setup(DEBIAN))[0].main


class TestListsThatMasterCfOverrides:
    def test_get_our_words_where_port_25_has_them_without_white_space(self) -> None:
        smtp = service(smtpd_recipient_restrictions="permit_sasl_authenticated, reject_x")
        after, _ = installed(setup(DEBIAN, smtp))
        (found,) = port_25(after.services)
        assert found.options["smtpd_recipient_restrictions"] == (
            "permit_sasl_authenticated,$popgate_clients,reject_x"
        )

    def test_are_those_of_the_smtpd_behind_postscreen(self) -> None:
        front = service()
        screen = PostfixSetup(
            DEBIAN,
            (
                type(front)("smtp", "inet", "y", "postscreen", {}),
                service("smtpd", "pass", smtpd_client_restrictions="permit_sasl_authenticated"),
            ),
            setup(DEBIAN).values,
        )
        (found,) = port_25(installed(screen)[0].services)
        assert found.id == "smtpd/pass"
        assert found.options["smtpd_client_restrictions"].endswith(",$popgate_clients")

    def test_of_other_services_stay(self) -> None:
        other = service("10025", smtpd_client_restrictions="permit_sasl_authenticated,reject")
        after, edits = installed(setup(DEBIAN, service(), other))
        assert not [one for one in edits if one.service == other.id]
        assert other in after.services


class TestTheSubmissionPort:
    def test_that_the_admin_has_gets_no_rights_from_popgate(self) -> None:
        theirs = service("submission", smtpd_client_restrictions="permit_sasl_authenticated,reject")
        after, _ = installed(setup(DEBIAN, service(), theirs))
        found = submission(after.services, "submission")
        assert found is not None
        assert found.options == {**theirs.options, "popgate_clients": ""}

    def test_that_takes_no_list_from_main_cf_is_left_alone(self) -> None:
        theirs = service("587", **dict.fromkeys(LISTS, "permit_sasl_authenticated,reject"))
        _, edits = installed(setup(DEBIAN, service(), theirs))
        assert not [one for one in edits if one.service]

    def test_is_made_and_port_25_offers_no_auth(self) -> None:
        before = setup(DEBIAN, smtpd_sasl_auth_enable="yes")
        after, edits = installed(before, "submission", "submissions")
        for name in ("submission", "submissions"):
            made = submission(after.services, name)
            assert made is not None
            assert made.options == submission_options(name)
        (smtp,) = port_25(after.services)
        assert smtp.options == {"smtpd_sasl_auth_enable": "no"}
        assert "smtpd_sasl_auth_enable" not in after.main, "others may rely on it"
        assert ["-P", "smtp/inet/smtpd_sasl_auth_enable=no"] in commands(edits)

    def test_of_the_admins_gets_our_options_and_keeps_checks_of_who_is_logged_in(self) -> None:
        theirs = service(
            "587",
            syslog_name="postfix/msa",
            smtpd_tls_security_level="may",
            smtpd_client_restrictions="permit_mynetworks,permit_sasl_authenticated,reject",
            smtpd_sender_restrictions="reject_sender_login_mismatch",
            milter_macro_daemon_name="ORIGINATING",
        )
        after, edits = installed(setup(DEBIAN, service(), theirs), "submission")
        found = submission(after.services, "submission")
        assert found is not None
        assert found.options == {
            **submission_options("submission"),
            "syslog_name": "postfix/msa",
            "smtpd_sender_restrictions": "reject_sender_login_mismatch",
            "milter_macro_daemon_name": "ORIGINATING",
        }
        assert not [one for one in edits if one.service and not one.name]
        assert plan(after, wanted("submission"), edits) == []
        out = applied(after, unplan(after, edits, CLASSES))
        assert submission(out.services, "submission") == theirs

    def test_goes_back_when_it_is_turned_off_again(self) -> None:
        before = setup(DEBIAN, smtpd_sasl_auth_enable="yes")
        on, made = installed(before, "submission", "submissions")
        assert plan(on, wanted("submission", "submissions"), made) == []
        off = applied(on, plan(on, wanted(), made))
        assert off == installed(before)[0]
        one = applied(on, plan(on, wanted("submission"), made))
        assert submission(one.services, "submissions") is None
        assert submission(one.services, "submission") is not None


class TestTakingOut:
    def test_leaves_what_the_admin_changed_since(self) -> None:
        before = setup(DEBIAN, smtpd_sasl_auth_enable="yes")
        after, made = installed(before, "submission")
        edited = applied(
            after,
            [
                Edit("smtp/inet", "smtpd_sasl_auth_enable", "yes"),
                Edit("", "smtpd_relay_restrictions", "permit_mynetworks, $popgate_clients, reject"),
                Edit("", "mynetworks", "192.0.2.0/24"),
            ],
        )
        (left,) = kept(edited, made)
        assert (left.service, left.name) == ("smtp/inet", "smtpd_sasl_auth_enable")
        out = applied(edited, unplan(edited, made, CLASSES))
        assert out.main == {
            "smtpd_relay_restrictions": "permit_mynetworks, reject",
            "mynetworks": "192.0.2.0/24",
        }
        assert submission(out.services, "submission") is None
        assert port_25(out.services)[0].options == {"smtpd_sasl_auth_enable": "yes"}

    def test_needs_no_record_for_words_of_ours(self) -> None:
        main = DEBIAN | {"mine": "permit_mynetworks, $popgate_clients", "popgate_dir": "/x"}
        smtp = service(popgate_clients="", smtpd_helo_restrictions="a,$popgate_clients,b")
        found = setup(main, smtp)
        out = applied(found, unplan(found, (), CLASSES))
        assert out.main == DEBIAN | {"mine": "permit_mynetworks"}
        assert port_25(out.services)[0].options == {"smtpd_helo_restrictions": "a,b"}

    def test_white_space_of_others_in_master_cf_stays(self) -> None:
        smtp = service(smtpd_banner="$myhostname ESMTP ready")
        found = setup(DEBIAN, smtp)
        assert unplan(found, (), CLASSES) == []


@given(
    st.dictionaries(st.sampled_from(LISTS), values, max_size=8),
    st.dictionaries(st.sampled_from(LISTS), values, max_size=3),
    st.sampled_from([(), ("submission",), ("submission", "submissions")]),
)
def test_what_was_put_in_is_taken_out_again(
    main: dict[str, str], options: dict[str, str], services: tuple[str, ...]
) -> None:
    options = {name: ",".join(value.split()) for name, value in options.items()}
    main = {**main, "mine": "permit_mynetworks, permit_sasl_authenticated"}
    before = setup(main, service(**options), smtpd_sasl_auth_enable="yes")
    after, made = installed(before, *services)
    assert plan(after, wanted(*services), made) == []
    out = applied(after, unplan(after, made, CLASSES))
    assert out.main == before.main
    assert out.services == before.services


def test_the_first_word_of_what_stood_there_counts() -> None:
    first = Edit("", "a", "1", "0")
    assert joined([first], [Edit("", "a", "2", "1"), Edit("", "b", "3")]) == [
        Edit("", "a", "2", "0"),
        Edit("", "b", "3"),
    ]
