from ..tools import envelope
from ..tools.message import ApiResponse
from .pure_case import PureCase

PAGE = {"total": 1, "limit": 100, "offset": 0, "next": None, "previous": None}
FORMATS = ("bare", "status", "success")


class TestSuccess(PureCase):
    def test_each_format_wraps_objects_and_lists(self):
        for format, response, expected in [
            ("bare", ApiResponse(payload={"a": 1}), {"a": 1}),
            ("bare", ApiResponse(payload=[1], kind="list", pagination=PAGE), [1]),
            (
                "status",
                ApiResponse(payload={"a": 1}),
                {"status": "success", "data": {"a": 1}},
            ),
            (
                "status",
                ApiResponse(payload=[1], kind="list", pagination=PAGE),
                {"status": "success", "data": [1], "pagination": PAGE},
            ),
            (
                "status",
                ApiResponse(payload=[], kind="list"),
                {"status": "success", "data": []},
            ),
            (
                "success",
                ApiResponse(status=201, payload={"a": 1}, message="Created"),
                {"success": True, "data": {"a": 1}, "message": "Created"},
            ),
            (
                "success",
                ApiResponse(payload=[1], kind="list", pagination=PAGE),
                {
                    "success": True,
                    "data": [1],
                    "message": "Success",
                    "pagination": PAGE,
                },
            ),
        ]:
            with self.subTest(format=format, response=response):
                self.assertEqual(envelope.success(format, response), expected)

    def test_raw_answers_and_answers_without_body_are_left_alone(self):
        for format in FORMATS:
            with self.subTest(format=format):
                raw = ApiResponse(payload={"openapi": "3.1.0"}, kind="raw")
                self.assertEqual(envelope.success(format, raw), {"openapi": "3.1.0"})
                for status in (204, 304):
                    empty = ApiResponse(status=status, payload={"a": 1})
                    self.assertIsNone(envelope.success(format, empty))


class TestError(PureCase):
    def test_each_format_has_its_error(self):
        for format, line_id, details, expected in [
            ("bare", None, None, {"message": "No"}),
            (
                "bare",
                7,
                None,
                {"error": "No", "line_id": 7, "status_code": "VALIDATION_ERROR"},
            ),
            (
                "bare",
                7,
                {"key": "a"},
                {
                    "error": "No",
                    "line_id": 7,
                    "status_code": "VALIDATION_ERROR",
                    "details": {"key": "a"},
                },
            ),
            (
                "bare",
                None,
                {"key": "a"},
                {"message": "No", "details": {"key": "a"}},
            ),
            ("status", None, None, {"status": "error", "message": "No", "code": 400}),
            (
                "status",
                7,
                {"key": "a"},
                {
                    "status": "error",
                    "message": "No",
                    "code": 400,
                    "line_id": 7,
                    "details": {"key": "a"},
                },
            ),
            (
                "success",
                None,
                None,
                {
                    "success": False,
                    "error": {
                        "code": "VALIDATION_ERROR",
                        "message": "No",
                        "details": {},
                    },
                },
            ),
            (
                "success",
                7,
                {"key": "a"},
                {
                    "success": False,
                    "error": {
                        "code": "VALIDATION_ERROR",
                        "message": "No",
                        "details": {"key": "a", "line_id": 7},
                    },
                },
            ),
        ]:
            with self.subTest(format=format, line_id=line_id, details=details):
                self.assertEqual(
                    envelope.error(
                        format, 400, "VALIDATION_ERROR", "No", line_id, details
                    ),
                    expected,
                )

    def test_the_request_id_comes_on_top(self):
        for format in FORMATS:
            with self.subTest(format=format):
                value = envelope.error(format, 500, "X", "No", request_id="r-1")
                self.assertEqual(value.pop("request_id"), "r-1")
                self.assertEqual(value, envelope.error(format, 500, "X", "No"))

    def test_the_given_details_are_not_changed(self):
        details = {"key": "a"}
        envelope.error("success", 400, "X", "No", 7, details)
        self.assertEqual(details, {"key": "a"})
