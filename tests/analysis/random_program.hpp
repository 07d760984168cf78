// SPDX-License-Identifier: MIT
// random_program.hpp: random asynchronous programs, and a machine that runs them: one event loop, or several with work
// stealing, or as many as there is work. It shares nothing with thence but the events that it writes down.
//
// A program is a list of steps: compute, await an operation, await all of several programs, await the first of several,
// start a program and go on. What a step costs is outside of the program, so that it can be run again with one cost changed.
// Layer: tests.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <utility>
#include <vector>

#include "thence/core/trace_event.hpp"

namespace thence_test {

using namespace thence;

struct ProgramStep;
using Program = std::vector<ProgramStep>;
struct ProgramStep {
  enum class Kind { kCompute, kAwait, kAll, kRace, kSpawn };
  Kind kind = Kind::kCompute;
  std::size_t cost = 0;  // kCompute, kAwait: which of the costs
  std::vector<Program> programs;
};

struct RandomProgram {
  Program program;
  std::vector<std::uint64_t> costs;
  bool has_race = false;
};

class ProgramMaker {
 public:
  explicit ProgramMaker(std::uint64_t seed) : random_(seed) {}
  RandomProgram make(bool races) {
    RandomProgram made;
    races_ = races;
    made.program = program(made, 0);
    return made;
  }

 private:
  std::uint64_t between(std::uint64_t low, std::uint64_t high) { return low + random_() % (high - low + 1); }
  Program program(RandomProgram& made, int depth) {
    Program steps(between(1, depth != 0 ? 4 : 5));
    for (ProgramStep& step : steps) {
      const std::uint64_t kind = between(0, 99);
      if (kind < 35) {
        step.kind = ProgramStep::Kind::kCompute;
        step.cost = made.costs.size();
        made.costs.push_back(between(1'000, 90'000));
      } else if (kind < 65 || depth >= 3) {
        step.kind = ProgramStep::Kind::kAwait;
        step.cost = made.costs.size();
        made.costs.push_back(between(5'000, 900'000));
      } else if (kind < 80 || (kind < 90 && !races_)) {
        step.kind = ProgramStep::Kind::kAll;
        for (std::uint64_t n = between(2, 4); n != 0; --n) step.programs.push_back(program(made, depth + 1));
      } else if (kind < 90) {
        step.kind = ProgramStep::Kind::kRace;
        made.has_race = true;
        for (int n = 0; n < 2; ++n) step.programs.push_back(program(made, depth + 1));
      } else {
        step.kind = ProgramStep::Kind::kSpawn;
        step.programs.push_back(program(made, depth + 1));
      }
    }
    return steps;
  }
  std::mt19937_64 random_;
  bool races_ = true;
};

/// How the machine tells why a callback ran.
enum class CauseStyle { kCauses, kWakes, kLinks };

struct MachineOptions {
  unsigned lanes = 1;  ///< 0: as many as there is work
  CauseStyle style = CauseStyle::kCauses;
};

/// What came of a run.
struct MachineRun {
  struct Piece {  ///< a stretch of computing
    std::uint64_t start, end, lane;
    std::size_t cost;
  };
  std::uint64_t end = 0;                             ///< of the main program
  std::vector<std::uint64_t> order;                  ///< of all that happened: who, what, where; without times
  std::vector<TraceEvent> events;
  std::vector<Piece> pieces;
  std::map<std::uint64_t, std::size_t> operations;   ///< resource id -> cost
  std::map<std::uint64_t, std::vector<std::size_t>> computing;  ///< resource id of a coroutine -> costs
};

class Machine {
 public:
  Machine(const RandomProgram& what, const std::vector<std::uint64_t>& costs, const MachineOptions& options)
      : costs_(costs), options_(options) {
    lanes_.resize(options.lanes == 0 ? 1 : options.lanes);
    Co* main = create(what.program, nullptr, 0, 0);
    push({main, 0, CauseKind::kUnspecified, 0, 0}, 0);
    dispatch_idle();
    while (!later_.empty()) {
      const Later next = later_.top();
      later_.pop();
      now_ = next.time;
      if (next.co == nullptr) {
        run(next.lane);
      } else {
        note(5, next.operation, 0);
        event(EventKind::kSettled, next.operation, 0, 0, static_cast<std::uint8_t>(static_cast<unsigned>(Outcome::kFulfilled) |
                                                                                   static_cast<unsigned>(Actor::kExternal) << 4));
        Ready ready{next.co, now_, CauseKind::kExternal, next.operation, 0};
        if (lanes_.size() == 1 && options_.lanes == 1) {
          wake(ready, Actor::kExternal, 0);
          lanes_[0].queue.push_back(ready);
        } else {
          wake(ready, Actor::kExternal, 0);
          global_.push_back(ready);
        }
      }
      dispatch_idle();
    }
  }

  MachineRun result;

 private:
  struct Join;
  struct Co {
    const Program* program = nullptr;
    std::size_t at = 0;
    std::uint64_t resource = 0;
    Join* join = nullptr;  // told of its end; null: nobody is
    std::uint64_t parent = 0;
    bool main = false;
  };
  struct Join {
    std::size_t left = 0;
    bool fired = false;
    Co* waiter = nullptr;
  };
  struct Ready {
    Co* co;
    std::uint64_t since;
    CauseKind cause;
    std::uint64_t by;
    unsigned lane;
  };
  struct Later {
    std::uint64_t time;
    std::uint64_t number;
    Co* co;  // waits for an operation; null: a lane goes on
    std::uint64_t operation;
    unsigned lane;
    bool operator<(const Later& other) const { return time != other.time ? time > other.time : number > other.number; }
  };
  struct Lane {
    std::deque<Ready> queue;
    Co* co = nullptr;
  };

  void event(EventKind kind, std::uint64_t resource, std::uint64_t other, unsigned lane, std::uint8_t flags) {
    TraceEvent made;
    made.kind = kind;
    made.time = static_cast<Timestamp>(now_);
    made.resource = static_cast<ResourceId>(resource);
    made.other = static_cast<ResourceId>(other);
    made.root = RootId{1};
    made.lane = static_cast<LaneId>(lane);
    made.flags = flags;
    result.events.push_back(made);
  }
  void note(std::uint64_t what, std::uint64_t who, std::uint64_t where) { result.order.push_back(what << 56 | where << 40 | who); }

  std::uint64_t created(ResourceType type, std::uint64_t trigger, unsigned lane) {
    const std::uint64_t id = next_id_++;
    event(EventKind::kCreated, id, trigger, lane, 0);
    result.events.back().type = type_id(type);
    return id;
  }
  Co* create(const Program& program, Join* join, std::uint64_t by, unsigned lane) {
    cos_.push_back(std::make_unique<Co>());
    Co* made = cos_.back().get();
    made->program = &program;
    made->join = join;
    made->parent = by;
    made->main = cos_.size() == 1;
    made->resource = created(made->main ? ResourceType::kRoot : ResourceType::kJsPromise, by, lane);
    note(1, made->resource, lane);
    return made;
  }

  void wake(Ready& ready, Actor actor, unsigned lane) {
    if (options_.style == CauseStyle::kWakes) event(EventKind::kScheduled, ready.co->resource, ready.by, lane, static_cast<std::uint8_t>(actor));
  }
  void push(Ready ready, unsigned lane) {
    ready.since = now_;
    ready.lane = lane;
    lanes_[lane].queue.push_back(ready);
  }

  /// Lanes that have nothing to do look for work, until none finds any.
  void dispatch_idle() {
    for (bool found = true; found;) {
      found = false;
      for (unsigned lane = 0; lane < lanes_.size(); ++lane) {
        if (lanes_[lane].co == nullptr && begin(lane)) {
          found = true;
          run(lane);
        }
      }
      if (options_.lanes == 0) {
        bool waiting = !global_.empty();
        for (const Lane& lane : lanes_) waiting = waiting || !lane.queue.empty();
        if (waiting) {
          lanes_.emplace_back();
          found = true;
        }
      }
    }
  }
  /// Its own queue first, then what came from outside, then the longest queue of another.
  bool begin(unsigned lane) {
    std::deque<Ready>* from = &lanes_[lane].queue;
    if (from->empty()) from = &global_;
    if (from->empty()) {
      for (Lane& other : lanes_) {
        if (other.queue.size() > from->size()) from = &other.queue;
      }
    }
    if (from->empty()) return false;
    const Ready ready = from->front();
    from->pop_front();
    lanes_[lane].co = ready.co;
    note(2, ready.co->resource, lane);
    const bool told = options_.style == CauseStyle::kCauses || ready.cause == CauseKind::kCreated ||
                      (options_.style == CauseStyle::kLinks && raced_.count(ready.by) != 0);
    const bool silent = options_.style == CauseStyle::kWakes && ready.by != 0;
    event(EventKind::kEntered, ready.co->resource, told && !silent ? ready.by : 0, lane + 1,
          static_cast<std::uint8_t>(told && !silent ? ready.cause : CauseKind::kUnspecified));
    return true;
  }
  void leave(unsigned lane) {
    note(3, lanes_[lane].co->resource, lane);
    event(EventKind::kExited, lanes_[lane].co->resource, 0, lane + 1, 0);
    lanes_[lane].co = nullptr;
  }
  void start(Co* child, std::uint64_t by, unsigned lane) {
    Ready ready{child, now_, CauseKind::kCreated, by, lane};
    wake(ready, Actor::kInvocation, lane + 1);
    push(ready, lane);
  }

  /// Goes on with what a lane runs, until it computes or waits.
  void run(unsigned lane) {
    for (;;) {
      Co* co = lanes_[lane].co;
      if (co->at == co->program->size()) {
        note(4, co->resource, lane);
        event(EventKind::kSettled, co->resource, co->resource, lane + 1,
              static_cast<std::uint8_t>(static_cast<unsigned>(Outcome::kFulfilled) | static_cast<unsigned>(Actor::kInvocation) << 4));
        if (co->main) result.end = now_;
        if (Join* join = co->join; join != nullptr) {
          if (join->left != 0) --join->left;
          if (join->left == 0 && !join->fired) {
            join->fired = true;
            Ready ready{join->waiter, now_, CauseKind::kSettled, co->resource, lane};
            if (options_.style == CauseStyle::kWakes) {
              event(EventKind::kScheduled, ready.co->resource, co->resource, lane + 1, static_cast<std::uint8_t>(Actor::kInvocation));
            }
            push(ready, lane);
          }
        }
        return leave(lane);
      }
      const ProgramStep& step = (*co->program)[co->at++];
      switch (step.kind) {
        case ProgramStep::Kind::kCompute: {
          const std::uint64_t cost = costs_[step.cost];
          result.pieces.push_back({now_, now_ + cost, lane + 1, step.cost});
          result.computing[co->resource].push_back(step.cost);
          later_.push({now_ + cost, number_++, nullptr, 0, lane});
          return;
        }
        case ProgramStep::Kind::kAwait: {
          const std::uint64_t id = created(ResourceType::kFetch, co->resource, lane + 1);
          result.operations[id] = step.cost;
          event(EventKind::kLinked, co->resource, id, lane + 1, static_cast<std::uint8_t>(LinkKind::kAwaits));
          later_.push({now_ + costs_[step.cost], number_++, co, id, 0});
          return leave(lane);
        }
        case ProgramStep::Kind::kAll:
        case ProgramStep::Kind::kRace: {
          joins_.push_back(std::make_unique<Join>());
          Join* join = joins_.back().get();
          const bool all = step.kind == ProgramStep::Kind::kAll;
          join->left = all ? step.programs.size() : 1;
          join->waiter = co;
          for (const Program& program : step.programs) {
            Co* child = create(program, join, co->resource, lane + 1);
            if (all) {
              event(EventKind::kLinked, co->resource, child->resource, lane + 1, static_cast<std::uint8_t>(LinkKind::kAwaits));
            } else {
              raced_[child->resource] = true;
            }
            start(child, co->resource, lane);
          }
          return leave(lane);
        }
        case ProgramStep::Kind::kSpawn:
          start(create(step.programs.front(), nullptr, co->resource, lane + 1), co->resource, lane);
          break;
      }
    }
  }

  const std::vector<std::uint64_t>& costs_;
  MachineOptions options_;
  std::uint64_t now_ = 0;
  std::uint64_t next_id_ = 1;
  std::uint64_t number_ = 0;
  std::vector<std::unique_ptr<Co>> cos_;
  std::vector<std::unique_ptr<Join>> joins_;
  std::deque<Lane> lanes_;
  std::deque<Ready> global_;
  std::map<std::uint64_t, bool> raced_;
  std::priority_queue<Later> later_;
};

}  // namespace thence_test
