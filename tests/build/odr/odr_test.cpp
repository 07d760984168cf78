// SPDX-License-Identifier: MIT
#include "odr/unit.hpp"
#include "support/catch.hpp"

TEST_CASE("a unit with tracing on and one with tracing off, in one program, behave each by its own setting") {
  const UnitReport on = report_of_unit_on();
  const UnitReport off = report_of_unit_off();

  CHECK(on.enabled);
  CHECK(on.session_started);
  CHECK(on.handle_given);
  CHECK(on.depth_inside == 1);
  CHECK(on.events >= 5);  // created, entered, exited, settled, destroyed
  CHECK(on.tracer_bytes > 1);

  CHECK_FALSE(off.enabled);
  CHECK_FALSE(off.session_started);
  CHECK_FALSE(off.handle_given);
  CHECK(off.depth_inside == 0);
  CHECK(off.events == 0);
  CHECK(off.tracer_bytes == 1);
}

TEST_CASE("the order in which the two units run makes no difference") {
  const UnitReport off = report_of_unit_off();
  const UnitReport on = report_of_unit_on();
  CHECK(off.events == 0);
  CHECK(on.events >= 5);
}
