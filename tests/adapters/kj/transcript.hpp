// SPDX-License-Identifier: MIT
// transcript.hpp: what a program did, as lines that a test can compare. A resource is called by its type and its number
// among those of that type ("timer1"), or by a name that the test gave it; "-" is none.
//
//   Traced traced;
//   ... traced.tracer ...
//   CHECK(traced.transcript() == Lines{"timer1 created by -", "timer1 settled fulfilled by outside", ...});
//
// Layer: tests.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "support/recording_sink.hpp"
#include "thence/capture/tracer.hpp"
#include "thence/session/session.hpp"

namespace thence_test {

using Lines = std::vector<std::string>;

struct Traced {
  Recording recording;
  thence::Session session;
  thence::BasicLane<thence::DefaultPolicies> lane;
  thence::Tracer& tracer;
  std::map<thence::ResourceId, std::string> names;

  explicit Traced(thence::Sampling sampling = thence::Sampling::all())
      : session(options(sampling)), lane(start(session, recording)), tracer(lane.tracer()) {}

  static thence::SessionOptions options(thence::Sampling sampling) {
    thence::SessionOptions chosen;
    chosen.drain_thread = false;
    chosen.sampling = sampling;
    return chosen;
  }
  static thence::BasicLane<thence::DefaultPolicies> start(thence::Session& session, Recording& recording) {
    session.add_sink(RecordingSink(recording));
    session.start();
    return session.attach("loop");
  }

  void name(thence::Resource resource, std::string name) { names[resource.id] = std::move(name); }

  /// Every event of a resource, one line each, in order. Ends the session.
  Lines transcript(bool with_annotations = false) {
    session.close();
    std::map<std::string, int> numbers;
    for (const auto& event : recording.of_kind(thence::EventKind::kCreated)) {
      const std::string type = recording.type_name(event);
      const int number = ++numbers[type];
      if (names.count(event.resource) == 0) names[event.resource] = type + std::to_string(number);
    }
    Lines lines;
    for (const auto& event : recording.events) {
      const std::string who = called(event.resource);
      switch (event.kind) {
        case thence::EventKind::kCreated: lines.push_back(who + " created by " + called(event.other)); break;
        case thence::EventKind::kScheduled:
          lines.push_back(who + " scheduled by " + actor(event.scheduled_by(), event.other));
          break;
        case thence::EventKind::kEntered: lines.push_back(who + " entered" + cause(event)); break;
        case thence::EventKind::kExited: lines.push_back(who + " exited"); break;
        case thence::EventKind::kSettled:
          lines.push_back(who + " " + outcome(event.outcome()) + " by " + actor(event.settled_by(), event.other));
          break;
        case thence::EventKind::kDestroyed: lines.push_back(who + " destroyed"); break;
        case thence::EventKind::kLinked:
          lines.push_back(who + (event.link() == thence::LinkKind::kBridge ? " is " : " awaits ") +
                          called(event.other));
          break;
        case thence::EventKind::kAnnotated:
          if (with_annotations) lines.push_back(who + " " + event.key + "=" + value(event));
          break;
        case thence::EventKind::kRootFinished: lines.push_back(who + " finished"); break;
        case thence::EventKind::kParked: lines.push_back("parked"); break;
        case thence::EventKind::kUnparked: lines.push_back("unparked"); break;
        default: break;
      }
    }
    return lines;
  }

  /// Only the lines that bear one of these words.
  static Lines with(const Lines& lines, std::vector<std::string> words) {
    Lines kept;
    for (const auto& line : lines) {
      if (std::any_of(words.begin(), words.end(),
                      [&](const std::string& word) { return line.find(word) != std::string::npos; }))
        kept.push_back(line);
    }
    return kept;
  }

  std::string called(thence::ResourceId id) const {
    if (id == thence::ResourceId::kNone) return "-";
    const auto found = names.find(id);
    return found == names.end() ? "?" + std::to_string(thence::number(id)) : found->second;
  }

 private:
  std::string actor(thence::Actor by, thence::ResourceId other) const {
    switch (by) {
      case thence::Actor::kUnknown: return "unknown";
      case thence::Actor::kInvocation: return called(other);
      case thence::Actor::kExternal: return "outside";
    }
    return "?";
  }
  static std::string outcome(thence::Outcome outcome) {
    switch (outcome) {
      case thence::Outcome::kUnknown: return "settled";
      case thence::Outcome::kFulfilled: return "fulfilled";
      case thence::Outcome::kRejected: return "rejected";
      case thence::Outcome::kCancelled: return "cancelled";
      case thence::Outcome::kResolved: return "resolved";
    }
    return "?";
  }
  std::string cause(const RecordedEvent& event) const {
    switch (event.cause()) {
      case thence::CauseKind::kUnspecified: return "";
      case thence::CauseKind::kCreated: return " as created by " + called(event.other);
      case thence::CauseKind::kSettled: return " as " + called(event.other) + " settled";
      case thence::CauseKind::kScheduled: return " woken by " + called(event.other);
      case thence::CauseKind::kExternal: return " from outside";
    }
    return "?";
  }
  static std::string value(const RecordedEvent& event) {
    switch (event.value.kind) {
      case thence::ValueKind::kString: return event.text;
      case thence::ValueKind::kInt: return std::to_string(event.value.integer);
      case thence::ValueKind::kUint: return std::to_string(event.value.uinteger);
      case thence::ValueKind::kDouble: {
        std::string digits = std::to_string(event.value.real);
        digits.erase(digits.find_last_not_of('0') + 1);
        if (digits.back() == '.') digits.pop_back();
        return digits;
      }
      case thence::ValueKind::kBool: return event.value.boolean ? "true" : "false";
    }
    return "?";
  }
};

}  // namespace thence_test
