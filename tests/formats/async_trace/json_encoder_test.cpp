// SPDX-License-Identifier: MIT
#include "thence/formats/async_trace/json_encoder.hpp"

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "../script.hpp"
#include "support/catch.hpp"

namespace {

using namespace thence_test;

struct Documents {
  struct Sink {
    std::string* text;
    bool write(std::span<const std::byte> bytes) {
      text->append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      return true;
    }
  };
  std::map<std::uint64_t, std::string> texts;
  std::vector<std::uint64_t> roots;
  Sink open(RootId root, std::uint64_t ordinal) {
    roots.push_back(number(root));
    return {&texts[ordinal]};
  }
};
static_assert(EventSink<JsonEncoder<Documents>>);

std::map<std::uint64_t, std::string> documents_of(const Script& script, JsonOptions options = {}) {
  Documents documents;
  JsonEncoder<Documents> encoder(documents, options);
  script.play(encoder);
  CHECK(encoder.failures() == 0);
  CHECK(encoder.open_roots() == 0);
  return documents.texts;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a document is what the format says, to the byte") {
  Script s;
  s.at(0).created(70, kRootType).at(5).entered(70).at(10).created(71, kTimerType, 70, 1).annotated(71, "delay", Value::of(std::uint64_t{3}));
  s.at(20).exited(70).at(3'000'000).settled(71, Outcome::kFulfilled, Actor::kExternal).at(3'000'100).settled(70, Outcome::kFulfilled, Actor::kInvocation, 71);
  s.at(3'000'200).finished(70).sealed();
  CHECK(documents_of(s).at(1) ==
        R"({"requestDurationNs":3000200,"resources":[
{"asyncId":1,"triggerId":0,"type":"root","stackTraceId":0,"createdAt":0,"callbackStartedAt":5,"callbackEndedAt":20,"destroyedAt":0,"id":70,"createdOn":1,"settledAt":3000100,"outcome":"fulfilled","settledBy":"invocation","settledOn":1,"settler":2,"finishedAt":3000200,"invocations":[{"lane":1,"startedAt":5,"endedAt":20}]},
{"asyncId":2,"triggerId":1,"type":"timer","stackTraceId":1,"createdAt":10,"callbackStartedAt":0,"callbackEndedAt":0,"destroyedAt":0,"id":71,"createdOn":1,"settledAt":3000000,"outcome":"fulfilled","settledBy":"external","settledOn":1}
],
"stackTraces":[
{"id":0,"frames":[]},
{"id":1,"frames":["load @ app.js:12:5","fetch @ app.js:3:1"]}
],
"annotations":[
{"asyncId":2,"key":"delay","value":"3","valueType":"uint","typedValue":3}
],
"thence":{"version":1,"rootId":1,"salt":"0000000000001234","processId":77,"processName":"scripted","clock":"manual","sampling":"all","overflowPolicy":"drop-newest","startBoottimeNs":1000000000000,"startUnixNs":1000000005000,"durationFrom":"finished","sealReason":"finished","sealedAt":3000200,"openResources":0,"lateEvents":0,"notKept":0,"lanes":[{"id":1,"processId":77,"threadId":78,"name":"loop"},{"id":2,"processId":77,"threadId":79,"name":"pool"},{"id":3,"processId":77,"threadId":80,"name":"other"}],"lost":[],"links":[]}})");
}

TEST_CASE("requests that run at once do not mix, and each is handed out when it is sealed") {
  Documents documents;
  JsonEncoder<Documents> encoder(documents);
  Script::begin(encoder);
  Script first;
  first.root(8).at(0).created(1, kRootType).root(9).at(1).created(2, kRootType).root(8).at(2).created(3, kFetchType, 1);
  first.root(9).at(3).created(4, kTimerType, 3);  // triggered by the other request
  first.at(4).sealed();
  encoder.take(first.events());
  REQUIRE(documents.texts.size() == 1);
  CHECK(documents.roots == std::vector<std::uint64_t>{9});
  CHECK(contains(documents.texts.at(2), R"("asyncId":2,"triggerId":0,"type":"timer")"));
  CHECK(contains(documents.texts.at(2), R"("triggerRef":3)"));
  CHECK_FALSE(contains(documents.texts.at(2), "fetch"));
  CHECK(encoder.open_roots() == 1);
  encoder.end({});  // without a seal
  REQUIRE(documents.texts.size() == 2);
  CHECK(contains(documents.texts.at(1), R"("type":"fetch")"));
  CHECK_FALSE(contains(documents.texts.at(1), "sealReason"));
  CHECK(contains(documents.texts.at(1), R"("open":true)"));
  CHECK(encoder.open_roots() == 0);
}

TEST_CASE("what belongs to no request is counted, and written where that is asked for") {
  Script s;
  s.root(0).at(0).created(1, kTimerType).at(10).destroyed(1).created(2, kTimerType, 1);
  Documents documents;
  JsonEncoder<Documents> encoder(documents);
  s.play(encoder);
  CHECK(documents.texts.empty());
  CHECK(encoder.rootless_resources() == 2);
  JsonOptions options;
  options.write_rootless = true;
  const auto texts = documents_of(s, options);
  REQUIRE(texts.size() == 1);
  CHECK(contains(texts.at(0), R"("rootless":true)"));
  CHECK(contains(texts.at(0), R"("placeholder":true)"));
  CHECK(contains(texts.at(0), R"("asyncId":3,"triggerId":2,"type":"timer")"));
}

TEST_CASE("records beyond the bound are counted in the document") {
  Script s;
  s.at(0).created(1, kRootType);
  for (std::uint64_t id = 2; id <= 100; ++id) s.created(id, kFetchType, 1);
  s.sealed();
  JsonOptions options;
  options.max_records = 10;
  const std::string text = documents_of(s, options).at(1);
  CHECK(contains(text, R"("asyncId":10,)"));
  CHECK_FALSE(contains(text, R"("asyncId":11,)"));
  CHECK(contains(text, R"("notKept":90)"));
}

TEST_CASE("a sink that refuses a document is a failure, and the next document is not affected") {
  struct Picky {
    struct Sink {
      bool good;
      bool write(std::span<const std::byte>) const { return good; }
    };
    Sink open(RootId, std::uint64_t ordinal) { return {ordinal != 1}; }
  } picky;
  JsonEncoder<Picky> encoder(picky);
  Script s;
  s.root(1).at(0).created(1, kRootType).sealed().root(2).created(2, kRootType).sealed();
  s.play(encoder);
  CHECK(encoder.documents() == 2);
  CHECK(encoder.failures() == 1);
}

TEST_CASE("what happened before the root's start is not dropped and not negative in the format's own members") {
  Script s;
  s.at(100).created(1, kRootType).at(40).late().created(2, kFetchType, 1).at(150).finished(1).sealed();
  const std::string text = documents_of(s).at(1);
  CHECK(contains(text, R"("type":"fetch","stackTraceId":0,"createdAt":0)"));
  CHECK(contains(text, R"("asyncId":1,"triggerId":0,"type":"root")"));
  CHECK(contains(text, R"("createdBeforeStart":60)"));
  CHECK(contains(text, R"("lateEvents":1)"));
}

TEST_CASE("a value that is no number in JSON keeps its text") {
  Script s;
  s.at(0).created(1, kRootType).annotated(1, "x", Value::of(std::numeric_limits<double>::infinity()));
  s.annotated(1, "bad \xff", Value::of(std::string_view("\xc3("))).sealed();
  const std::string text = documents_of(s).at(1);
  CHECK(contains(text, R"("value":"inf","valueType":"double"})"));
  CHECK(contains(text, "\"key\":\"bad \xef\xbf\xbd\",\"value\":\"\xef\xbf\xbd(\""));
}
