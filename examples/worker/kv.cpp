// SPDX-License-Identifier: MIT
#include "kv.hpp"

#include <kj/debug.h>
#include <kj/vector.h>
#include <sqlite3.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <optional>
#include <utility>

namespace worker {

namespace {

kj::Exception sqlite_error(sqlite3* database, const char* what) {
  return KJ_EXCEPTION(FAILED, "KV", what, sqlite3_errmsg(database));
}

void execute(sqlite3* database, const char* sql) {
  if (sqlite3_exec(database, sql, nullptr, nullptr, nullptr) != SQLITE_OK)
    kj::throwFatalException(sqlite_error(database, sql));
}

/// One SQL statement, with its parameters; finalised at the end of the scope.
class Statement {
 public:
  Statement(sqlite3* database, const char* sql) : database_(database) {
    if (sqlite3_prepare_v2(database, sql, -1, &statement_, nullptr) != SQLITE_OK) {
      kj::throwFatalException(sqlite_error(database, "prepare"));
    }
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // The bound text and bytes must outlive the statement.
  Statement& bind(int n, kj::StringPtr text) {
    sqlite3_bind_text(statement_, n, text.begin(), static_cast<int>(text.size()), SQLITE_STATIC);
    return *this;
  }
  Statement& bind(int n, kj::ArrayPtr<const kj::byte> bytes) {
    const void* data = bytes.size() == 0 ? "" : static_cast<const void*>(bytes.begin());
    sqlite3_bind_blob64(statement_, n, data, bytes.size(), SQLITE_STATIC);
    return *this;
  }
  Statement& bind(int n, std::int64_t value) {
    sqlite3_bind_int64(statement_, n, value);
    return *this;
  }
  Statement& bind(int n, double value) {
    sqlite3_bind_double(statement_, n, value);
    return *this;
  }
  bool next() {  // whether there is a row
    const int result = sqlite3_step(statement_);
    if (result != SQLITE_ROW && result != SQLITE_DONE) kj::throwFatalException(sqlite_error(database_, "step"));
    return result == SQLITE_ROW;
  }
  kj::ArrayPtr<const kj::byte> bytes(int column) {
    const auto* data = static_cast<const kj::byte*>(sqlite3_column_blob(statement_, column));
    return kj::arrayPtr(data, static_cast<size_t>(sqlite3_column_bytes(statement_, column)));
  }
  kj::String text(int column) {
    const kj::ArrayPtr<const kj::byte> value = bytes(column);
    return kj::heapString(reinterpret_cast<const char*>(value.begin()), value.size());
  }

 private:
  sqlite3* database_;
  sqlite3_stmt* statement_ = nullptr;
};

// Seconds since 1970, as SQLite has them; `expires` is null for ever.
constexpr const char* kSchema =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=5000;"
    "CREATE TABLE IF NOT EXISTS kv (key TEXT PRIMARY KEY, value BLOB NOT NULL, expires REAL) WITHOUT ROWID";
constexpr const char* kNow = "(julianday('now') - 2440587.5) * 86400.0";

}  // namespace

template <class T>
class KvStore::TypedJob final : public Job {
 public:
  TypedJob(kj::Function<T(sqlite3*)> work, kj::Own<kj::PromiseFulfiller<T>> fulfiller)
      : work_(kj::mv(work)), fulfiller_(kj::mv(fulfiller)) {}
  void perform(sqlite3* database) override { result_.emplace(work_(database)); }
  void fail(kj::Exception exception) override { error_.emplace(kj::mv(exception)); }
  void finish() override {
    if (error_) {
      fulfiller_->reject(kj::mv(*error_));
    } else {
      fulfiller_->fulfill(kj::mv(*result_));
    }
  }

 private:
  kj::Function<T(sqlite3*)> work_;
  kj::Own<kj::PromiseFulfiller<T>> fulfiller_;
  std::optional<T> result_;
  std::optional<kj::Exception> error_;
};

KvStore::KvStore(kj::UnixEventPort& port, const std::string& file)
    : done_event_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      observer_(port, done_event_, kj::UnixEventPort::FdObserver::OBSERVE_READ),
      finisher_(nullptr) {
  KJ_ON_SCOPE_FAILURE(sqlite3_close(database_));
  if (sqlite3_open(file.c_str(), &database_) != SQLITE_OK) {
    kj::throwFatalException(KJ_EXCEPTION(FAILED, "cannot open the KV file", file.c_str(), sqlite3_errmsg(database_)));
  }
  execute(database_, kSchema);
  finisher_ = finish_jobs().eagerlyEvaluate([](kj::Exception&& exception) { KJ_LOG(FATAL, exception); });
  thread_ = std::thread([this] { run(); });
}

KvStore::~KvStore() noexcept(false) {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_one();
  thread_.join();
  sqlite3_close(database_);
}

template <class T>
kj::Promise<T> KvStore::queue(kj::Function<T(sqlite3*)> work) {
  auto pair = kj::newPromiseAndFulfiller<T>();
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::make_unique<TypedJob<T>>(kj::mv(work), kj::mv(pair.fulfiller)));
  }
  wake_.notify_one();
  return kj::mv(pair.promise);
}

void KvStore::run() {
  for (;;) {
    std::deque<std::unique_ptr<Job>> batch;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return closing_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      batch.swap(waiting_);
    }
    const auto failed = [&](const char* sql) { return kj::runCatchingExceptions([&] { execute(database_, sql); }); };
    const auto fail_all = [&](const kj::Exception& exception) {
      for (auto& job : batch) job->fail(kj::cp(exception));
    };
    auto began = failed("BEGIN");
    if (began == nullptr) {
      for (auto& job : batch) {
        auto error = kj::runCatchingExceptions([&] { job->perform(database_); });
        error.map([&](kj::Exception& exception) {
          job->fail(kj::mv(exception));
          return true;
        });
      }
      auto committed = failed("COMMIT");
      committed.map([&](kj::Exception& exception) {
        fail_all(exception);
        sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
        return true;
      });
    } else {
      began.map([&](kj::Exception& exception) {
        fail_all(exception);
        return true;
      });
    }
    {
      const std::lock_guard lock(mutex_);
      for (auto& job : batch) done_.push_back(std::move(job));
    }
    const std::uint64_t one = 1;
    // The counter cannot overflow: it is read to zero each time the loop wakes.
    [[maybe_unused]] const auto written = ::write(done_event_, &one, sizeof(one));
  }
}

kj::Promise<void> KvStore::finish_jobs() {
  return observer_.whenBecomesReadable().then([this] {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got = ::read(done_event_, &count, sizeof(count));
    std::deque<std::unique_ptr<Job>> done;
    {
      const std::lock_guard lock(mutex_);
      done.swap(done_);
    }
    for (auto& job : done) job->finish();
    return finish_jobs();
  });
}

kj::Promise<kj::Maybe<kj::Array<kj::byte>>> KvStore::get(kj::String key) {
  using Value = kj::Maybe<kj::Array<kj::byte>>;
  return queue<Value>([key = kj::mv(key)](sqlite3* database) -> Value {
    const kj::String sql = kj::str("SELECT value FROM kv WHERE key = ?1 AND (expires IS NULL OR expires > ", kNow, ")");
    Statement statement(database, sql.cStr());
    statement.bind(1, key.asPtr());
    if (!statement.next()) return nullptr;
    return kj::heapArray(statement.bytes(0));
  });
}

kj::Promise<void> KvStore::put(kj::String key, kj::Array<kj::byte> value, double seconds_to_live) {
  return queue<bool>([key = kj::mv(key), value = kj::mv(value), seconds_to_live](sqlite3* database) {
           const kj::String sql =
               kj::str("INSERT INTO kv VALUES (?1, ?2, ", kNow, " + ?3) ",
                       "ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires");
           Statement statement(database, sql.cStr());
           statement.bind(1, key.asPtr()).bind(2, value.asPtr());
           if (seconds_to_live > 0) statement.bind(3, seconds_to_live);  // unbound is null: for ever
           statement.next();
           return true;
         })
      .ignoreResult();
}

kj::Promise<bool> KvStore::remove(kj::String key) {
  return queue<bool>([key = kj::mv(key)](sqlite3* database) {
    Statement(database, "DELETE FROM kv WHERE key = ?1").bind(1, key.asPtr()).next();
    return sqlite3_changes(database) != 0;
  });
}

kj::Promise<kj::Array<kj::String>> KvStore::list(kj::String prefix, std::int64_t limit, kj::String after) {
  return queue<kj::Array<kj::String>>([prefix = kj::mv(prefix), limit, after = kj::mv(after)](sqlite3* database) {
    // substr compares whole characters exactly, where LIKE and GLOB would read the prefix as a pattern.
    const kj::String sql =
        kj::str("SELECT key FROM kv WHERE key >= ?1 AND key > ?2 AND substr(key, 1, length(?1)) = ?1 ",
                "AND (expires IS NULL OR expires > ", kNow, ") ORDER BY key LIMIT ?3");
    Statement statement(database, sql.cStr());
    statement.bind(1, prefix.asPtr()).bind(2, after.asPtr()).bind(3, limit);
    kj::Vector<kj::String> names;
    while (statement.next()) names.add(statement.text(0));
    return names.releaseAsArray();
  });
}

}  // namespace worker
