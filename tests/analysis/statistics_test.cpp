// SPDX-License-Identifier: MIT
// The statistics against numbers that other programs made: SciPy 1.17.1 and mpmath (40 digits), named beside each; and
// against definitions written out naively here.
#include "thence/analysis/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include "support/catch.hpp"
#include "thence/analysis/hypothesis_tests.hpp"

namespace {

using namespace thence;
using namespace thence::statistics;

using Doubles = std::vector<double>;
using Times = std::vector<std::uint64_t>;

bool near(double got, double wanted, double relative = 1e-12) {
  const bool ok = std::fabs(got - wanted) <= relative * std::fabs(wanted) + 1e-300;
  if (!ok) INFO(got << " is not " << wanted);
  return ok;
}

const Doubles kBase{12.1, 10.4, 13.9, 11.7, 15.2, 12.8};
const Doubles kNow{14.0, 16.3, 13.1, 17.7, 15.9, 18.4, 12.5};
const Doubles kTiedBase{1, 2, 2, 3, 5, 5, 5, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22};
const Doubles kTiedNow{2, 5, 6, 7, 7, 9, 12, 15, 18, 21, 25, 28, 30, 31, 33, 35, 36, 39, 40, 41, 42, 44, 50};

}  // namespace

TEST_CASE("values of given ranks are those that sorting puts there") {
  std::mt19937_64 random(7);
  for (const std::size_t size : {1u, 2u, 100u, 4095u, 4096u, 50'000u}) {
    for (unsigned shape = 0; shape < 5; ++shape) {
      std::vector<std::uint64_t> values(size);
      for (std::uint64_t& value : values) {
        const std::uint64_t any = random();
        value = shape == 0 ? 12'345'678 : shape == 1 ? any % 300 : shape == 2 ? any >> any % 64 : shape == 3 ? ~(any % 3) : 1'000'000 + any % 1000;
      }
      std::vector<std::uint64_t> sorted(values);
      std::sort(sorted.begin(), sorted.end());
      const std::size_t ranks[] = {0, size / 2, size / 2, size * 9 / 10, size - 1 - size / 100, size - 1};
      std::uint64_t found[6];
      thence::values_at_ranks(values, ranks, found);
      INFO("size " << size << " shape " << shape);
      for (std::size_t at = 0; at < 6; ++at) CHECK(found[at] == sorted[ranks[at]]);
      std::sort(values.begin(), values.end());
      CHECK(values == sorted);  // put into another order, and nothing else
    }
  }
}

TEST_CASE("logarithm and exponential are right to the last digits, also of the smallest and largest numbers") {
  // mpmath
  CHECK(near(mathematics::natural_log(1e-310), -713.8013788281542, 4e-16));
  CHECK(near(mathematics::natural_log(0.1), -2.3025850929940455, 4e-16));
  CHECK(near(mathematics::natural_log(1.0000001), 9.999999505838704e-08, 4e-16));
  CHECK(near(mathematics::natural_log(2), 0.6931471805599453, 4e-16));
  CHECK(near(mathematics::natural_log(3), 1.0986122886681098, 4e-16));
  CHECK(near(mathematics::natural_log(1e6), 13.815510557964274, 4e-16));
  CHECK(near(mathematics::natural_log(123456789.0), 18.63140176616802, 4e-16));
  CHECK(near(mathematics::natural_log(1.7e308), 709.7268368932282, 4e-16));
  CHECK(mathematics::natural_log(1) == 0);
  CHECK(mathematics::natural_log(0) == -std::numeric_limits<double>::infinity());
  CHECK(near(mathematics::exponential(-20.5), 1.2501528663867426e-09, 1e-15));
  CHECK(near(mathematics::exponential(-740.0), 4.2e-322, 0.02));  // a subnormal has few digits
  CHECK(near(mathematics::exponential(-1e-9), 0.999999999, 1e-15));
  CHECK(near(mathematics::exponential(0.5), 1.6487212707001282, 1e-15));
  CHECK(near(mathematics::exponential(10.25), 28282.541920334977, 1e-15));
  CHECK(near(mathematics::exponential(700.5), 1.6721859620674984e+304, 1e-15));
  std::mt19937_64 random(1);
  for (int n = 0; n < 100'000; ++n) {
    const double x = std::bit_cast<double>(random() & 0x7fef'ffff'ffff'ffffu);
    if (x == 0) continue;
    REQUIRE(near(mathematics::natural_log(x), std::log(x), 5e-16));
    const double y = static_cast<double>(static_cast<std::int64_t>(random() % 1'400'000) - 700'000) / 1000;
    REQUIRE(near(mathematics::exponential(y), std::exp(y), 2e-15));
  }
}

TEST_CASE("tails of the normal, Student's and Kolmogorov's distribution agree with mpmath and SciPy") {
  CHECK(near(mathematics::normal_upper_tail(-3.0), 0.9986501019683699));
  CHECK(near(mathematics::normal_upper_tail(-0.5), 0.6914624612740131));
  CHECK(near(mathematics::normal_upper_tail(0), 0.5));
  CHECK(near(mathematics::normal_upper_tail(0.3), 0.3820885778110474));
  CHECK(near(mathematics::normal_upper_tail(1.959963984540054), 0.025));
  CHECK(near(mathematics::normal_upper_tail(3.5), 0.00023262907903552504));
  CHECK(near(mathematics::normal_upper_tail(3.6), 0.00015910859015753383));
  CHECK(near(mathematics::normal_upper_tail(6), 9.86587645037698e-10));
  CHECK(near(mathematics::normal_upper_tail(12), 1.776482112077679e-33));
  CHECK(near(mathematics::normal_upper_tail(30), 4.906713927148187e-198));
  CHECK(near(mathematics::log_gamma(0.5), 0.5723649429247001));
  CHECK(std::fabs(mathematics::log_gamma(1)) < 1e-14);
  CHECK(near(mathematics::log_gamma(2.5), 0.2846828704729192));
  CHECK(near(mathematics::log_gamma(100.25), 360.28455963776423));
  CHECK(near(mathematics::log_gamma(1e6), 12815504.569147611));
  CHECK(near(mathematics::incomplete_beta(0.5, 0.5, 0.25), 1.0 / 3));
  CHECK(near(mathematics::incomplete_beta(4, 0.5, 0.9), 0.37337491740225964));
  CHECK(near(mathematics::incomplete_beta(50, 0.5, 0.99), 0.3173043978741974));
  CHECK(near(mathematics::incomplete_beta(2, 3, 0.1), 0.0523));
  CHECK(near(mathematics::incomplete_beta(2, 3, 0.95), 0.99951875));
  CHECK(near(mathematics::student_two_sided(2, 8), 0.08051623795726262));
  CHECK(near(mathematics::student_two_sided(3.5, 30), 0.0014768074376442532));
  CHECK(near(mathematics::student_two_sided(0.1, 1), 0.936548965138893));
  CHECK(near(mathematics::kolmogorov_tail(0.3), 0.9999906941986655));
  CHECK(near(mathematics::kolmogorov_tail(0.5), 0.9639452436648751));
  CHECK(near(mathematics::kolmogorov_tail(1), 0.26999967167735456));
  CHECK(near(mathematics::kolmogorov_tail(1.358), 0.05002679733444698));
  CHECK(near(mathematics::kolmogorov_tail(2), 0.0006709252557796953));
}

TEST_CASE("a percentile is a member of the data, by nearest rank, and is withheld where the data are too few") {
  Times hundred;
  for (std::uint64_t n = 1; n <= 100; ++n) hundred.push_back(n);
  const std::span<const std::uint64_t> all(hundred);
  CHECK(percentile(all, 0.99) == 99);  // floor(n q) would give the maximum
  CHECK(percentile(all, 0.29) == 29);  // 100 x 0.29 is a little over 29 in binary
  CHECK(percentile(all, 0.5) == 50);
  CHECK(percentile(all, 0) == 1);
  CHECK(percentile(all, 1) == 100);
  CHECK(percentile(all.first(1), 0.999) == 1);
  CHECK(printable_percentile(all, 0.99) == std::optional<std::uint64_t>(99));
  CHECK_FALSE(printable_percentile(all.first(99), 0.99));
  CHECK_FALSE(printable_percentile(all, 0.999));
  CHECK(printable_percentile(all.first(10), 0.9));
  CHECK_FALSE(printable_percentile(all.first(9), 0.9));
  CHECK_FALSE(printable_percentile(all.first(0), 0.5));
  std::mt19937_64 random(2);
  for (int n = 0; n < 500; ++n) {
    Times values(1 + random() % 300);
    for (std::uint64_t& value : values) value = random() % 50;
    std::sort(values.begin(), values.end());
    const unsigned q = static_cast<unsigned>(random() % 1001);
    const std::uint64_t got = percentile<std::uint64_t>(values, q / 1000.0);
    // The least member that at least q of the data do not exceed.
    std::uint64_t wanted = values.front();
    for (const std::uint64_t value : values) {
      const auto within = static_cast<std::uint64_t>(std::count_if(values.begin(), values.end(), [&](std::uint64_t v) { return v <= value; }));
      if (within * 1000 >= std::uint64_t{q} * values.size()) {
        wanted = value;
        break;
      }
    }
    REQUIRE(got == wanted);
  }
}

TEST_CASE("mean, deviation and summary are those of NumPy") {
  Times values{18, 2, 7, 7, 31, 5, 11, 2, 43, 9, 9, 28};
  std::sort(values.begin(), values.end());
  const Summary all = summarise(values);
  CHECK(near(all.mean, 14.333333333333334));
  CHECK(near(all.deviation, 13.02677894557859));
  CHECK(all.n == 12);
  CHECK(all.sum == 172);
  CHECK(all.p50 == 9);
  CHECK(all.p90 == std::optional<std::uint64_t>(31));
  CHECK_FALSE(all.p95);
  CHECK(summarise({}).n == 0);
  CHECK(moments<double>(Doubles{5}).deviation == 0);
}

TEST_CASE("three sigma needs eleven values: with ten it could never fire") {
  Times values(10, 1);
  values.back() = 1'000'000;
  CHECK_FALSE(three_sigma_limit<std::uint64_t>(values));
  const Moments m = moments<std::uint64_t>(values);
  CHECK((1e6 - m.mean) / m.deviation < 3);
  values.insert(values.begin(), 1);
  REQUIRE(three_sigma_limit<std::uint64_t>(values));
  CHECK(*three_sigma_limit<std::uint64_t>(values) < 1e6);
}

TEST_CASE("the modified z takes the logarithm, and the mean deviation where the median one is 0") {
  CHECK(near(modified_z_of_logs(Times{100, 110, 120, 130, 140, 150, 160, 900}).of(900), 8.899201514447316));  // NumPy
  CHECK(near(modified_z_of_logs(Times{100, 100, 100, 100, 100, 100, 100, 900}).of(900), 6.3831484879917015));
  CHECK_FALSE(modified_z_of_logs(Times(8, 100)).known);
  CHECK(modified_z_of_logs(Times(8, 100)).of(100) == 0);
  CHECK_FALSE(modified_z_of_logs(Times{1, 2, 3, 4, 5, 6, 700}).known);
  CHECK(modified_z_of_logs(Times{0, 0, 1, 1, 2, 2, 3, 3}).known);
}

TEST_CASE("a histogram holds every value once, from 10 to 60 bins, on a logarithmic axis where the range asks for it") {
  std::mt19937_64 random(3);
  for (int n = 0; n < 200; ++n) {
    Times values(2 + random() % 500);
    const std::uint64_t range = std::uint64_t{1} << random() % 40;
    for (std::uint64_t& value : values) value = random() % (range + 1);
    std::sort(values.begin(), values.end());
    const Histogram made = histogram(values);
    std::uint64_t all = made.underflow;
    for (const std::uint64_t count : made.counts) all += count;
    REQUIRE(all == values.size());
    if (made.width > 0) REQUIRE((made.counts.size() >= 10 && made.counts.size() <= 60));
    // A second way: each value into the bin whose edges hold it.
    for (std::size_t bin = 0; bin < made.counts.size() && !made.log_axis && made.width > 0; ++bin) {
      const double low = made.first + static_cast<double>(bin) * made.width;
      const double high = bin + 1 == made.counts.size() ? 1e300 : low + made.width;
      const auto held = std::count_if(values.begin(), values.end(), [&](std::uint64_t v) {
        return static_cast<double>(v) >= low + 1e-6 * made.width && static_cast<double>(v) < high - 1e-6 * made.width;
      });
      REQUIRE(static_cast<std::uint64_t>(held) <= made.counts[bin]);
    }
  }
  CHECK(wants_log_axis(Times{10, 100'001}));
  CHECK_FALSE(wants_log_axis(Times{10, 100'000}));  // not over 100 x 1 us
  CHECK(histogram(Times{0, 0, 5'000, 900'000}).underflow == 2);
  CHECK(histogram(Times{7, 7, 7}).counts == Times{3});
}

TEST_CASE("the distribution function steps at every value, and a drawing of it keeps both ends") {
  const std::vector<CdfStep> steps = cdf(Times{3, 3, 5, 9});
  REQUIRE(steps.size() == 3);
  CHECK((steps[0].value == 3 && steps[0].count == 2));
  CHECK((steps[2].value == 9 && steps[2].count == 4));
  Times many;
  for (std::uint64_t n = 0; n < 10'000; ++n) many.push_back(n);
  const std::vector<CdfStep> drawn = cdf(many, 100);
  CHECK(drawn.size() == 100);
  CHECK(drawn.front().value == 0);
  CHECK(drawn.back().count == 10'000);
  CHECK(near(dkw_band(100), std::sqrt(std::log(40.0) / 200)));
}

TEST_CASE("a violin is the reflected kernel estimate, has all its mass where the data are, and knows when to be dots") {
  const Times values{10, 12, 13, 15, 18, 22, 30, 31, 33, 40, 41, 44, 47, 52, 60, 61, 63, 70,
                     80, 95, 96, 97, 99, 100, 110, 120, 130, 140, 150, 160, 170, 180, 190, 200, 210, 220};
  const Violin made = violin(values);
  REQUIRE(made.shape == Violin::Shape::kViolin);
  CHECK_FALSE(made.log_axis);
  // NumPy, by direct summation of reflected kernels.
  CHECK(near(made.bandwidth, 27.75023699456498));
  REQUIRE(made.density.size() == 512);
  CHECK(near(made.density[0], 0.008858114818771565, 1e-4));
  CHECK(near(made.density[100], 0.0068893106167746895, 1e-4));
  CHECK(near(made.density[255], 0.003998144607782359, 1e-4));
  CHECK(near(made.density[400], 0.002909742989691038, 1e-4));
  CHECK(near(made.density[511], 0.0031772733599172843, 1e-4));
  CHECK((made.q1 == 33 && made.q2 == 70 && made.q3 == 130));
  CHECK(violin(Times{1, 2, 3, 4}).shape == Violin::Shape::kDots);
  CHECK(violin(Times{1, 2, 3, 4, 5}).shape == Violin::Shape::kViolinAndDots);
  CHECK(violin(Times(9, 4)).shape == Violin::Shape::kLine);
  CHECK(violin({}).shape == Violin::Shape::kNothing);
  const Violin logs = violin(Times{0, 1'000, 2'000, 30'000, 400'000, 5'000'000});
  CHECK(logs.log_axis);
  CHECK(logs.underflow == 1);
}

TEST_CASE("Spearman's rho, its p and Theil and Sen's slope are SciPy's") {
  const Doubles y{1, 3, 2, 8, 5, 9, 4, 11, 12, 10, 6, 7};
  const Doubles z{2, 2, 5, 6, 9, 9, 7, 14, 12, 12, 8, 8};
  const Correlation made = spearman(y, z);
  CHECK(near(made.rho, 0.8697398767769385));
  CHECK(near(made.p, 0.0002363819997674276, 1e-9));
  CHECK(near(theil_sen(y, z).value(), 0.8920454545454546));
  CHECK(trend(y, z).called_out);
  CHECK_FALSE(trend(Doubles(y.begin(), y.begin() + 9), Doubles(z.begin(), z.begin() + 9)).called_out);
  CHECK_FALSE(spearman(Doubles{1, 1, 1}, Doubles{1, 2, 3}).known);
  CHECK_FALSE(theil_sen(Doubles{1, 1}, Doubles{1, 2}));
  Doubles x(5000);
  for (std::size_t n = 0; n < x.size(); ++n) x[n] = static_cast<double>(n);
  CHECK(theil_sen(x, x) == std::optional<double>(1));
}

TEST_CASE("Mann and Whitney's test is SciPy's, exact for few values and corrected for ties") {
  const MannWhitney exact = mann_whitney(kBase, kNow);
  CHECK(exact.exact);
  CHECK(exact.u == 36);
  CHECK(near(exact.p, 0.03496503496503496));
  CHECK(near(exact.cliffs_delta, 2 * 36.0 / 42 - 1));
  const MannWhitney tied = mann_whitney(kTiedBase, kTiedNow);
  CHECK_FALSE(tied.exact);
  CHECK(tied.u == 387);
  CHECK(near(tied.p, 0.0024195863745699983, 1e-10));
  CHECK(mann_whitney(Doubles{3, 3}, Doubles{3, 3}).p == 1);
  CHECK(mann_whitney({}, kNow).p == 1);
  // Whatever is greater may be either of the two.
  CHECK(near(mann_whitney(kNow, kBase).p, exact.p));
}

TEST_CASE("the smallest p that k against k traces can reach is known, so that too few are not called no change") {
  const auto smallest = [](std::size_t k) { return mann_whitney(Doubles(k, 1), Doubles(k, 2)).smallest_p; };
  CHECK(near(smallest(3), 0.1));
  CHECK(near(smallest(4), 0.02857142857142857));
  CHECK(near(smallest(5), 0.007936507936507936));
  const MannWhitney four = mann_whitney(Doubles{1, 2, 3, 4}, Doubles{5, 6, 7, 8});
  CHECK(near(four.p, four.smallest_p));
}

TEST_CASE("Hodges and Lehmann's shift and its interval are order statistics of all differences") {
  const Shift exact = hodges_lehmann(kBase, kNow);
  CHECK(near(exact.shift, 2.6, 1e-14));
  CHECK(exact.interval_known);  // U's 2.5 % quantile is 7, by enumeration: the 7th difference from either end
  CHECK(near(exact.low, 0.1, 1e-12));
  CHECK(near(exact.high, 5.6, 1e-12));
  const Shift tied = hodges_lehmann(kTiedBase, kTiedNow);
  CHECK(tied.shift == 15);
  CHECK((tied.low == 5 && tied.high == 23));
  CHECK_FALSE(hodges_lehmann(Doubles{1, 2, 3}, Doubles{4, 5, 6}).interval_known);
  std::mt19937_64 random(5);
  for (int n = 0; n < 300; ++n) {
    Doubles a(1 + random() % 30);
    Doubles b(1 + random() % 30);
    for (double& value : a) value = static_cast<double>(random() % 2000) - 1000;
    for (double& value : b) value = static_cast<double>(random() % 2000) / 7;
    Doubles all;
    for (const double x : a) {
      for (const double y : b) all.push_back(y - x);
    }
    std::sort(all.begin(), all.end());
    REQUIRE(near(hodges_lehmann(a, b).shift, median<double>(all), 1e-15));
  }
}

TEST_CASE("Kolmogorov and Smirnov's distance is SciPy's") {
  CHECK(near(kolmogorov_smirnov<double>(kTiedBase, kTiedNow).d, 0.5652173913043478));
  const double root = std::sqrt(22.0 * 23 / 45);
  CHECK(near(kolmogorov_smirnov<double>(kTiedBase, kTiedNow).p,
             mathematics::kolmogorov_tail((root + 0.12 + 0.11 / root) * 0.5652173913043478)));
  CHECK(kolmogorov_smirnov<double>(kBase, kBase).d == 0);
  CHECK(kolmogorov_smirnov<double>(kBase, kBase).p == 1);
}

TEST_CASE("adjusted p-values are SciPy's false_discovery_control") {
  const Doubles made = benjamini_hochberg(Doubles{0.01, 0.04, 0.03, 0.005, 0.8, 0.039});
  const Doubles wanted{0.03, 0.048, 0.048, 0.03, 0.8, 0.048};
  for (std::size_t at = 0; at < wanted.size(); ++at) CHECK(near(made[at], wanted[at]));
  CHECK(benjamini_hochberg({}).empty());
}

TEST_CASE("two counts are compared by the exact conditional test, as SciPy's binomtest does") {
  CHECK(near(poisson_rate_p(5, 1, 15, 1), 0.04138946533203125, 1e-10));
  CHECK(near(poisson_rate_p(100, 10, 160, 11), 0.003447102860517603, 1e-10));
  CHECK(near(poisson_rate_p(0, 1, 6, 1), 0.03125, 1e-10));
  CHECK(near(poisson_rate_p(3, 2, 40, 5), 0.0010137751865038009, 1e-10));
  CHECK(near(poisson_rate_p(1000, 1, 1100, 1), 0.03072070786424249, 1e-10));
  CHECK(poisson_rate_p(7, 1, 7, 1) == 1);
  CHECK(poisson_rate_p(0, 1, 0, 1) == 1);
}

TEST_CASE("the generator is PCG32, and draws below a bound are even") {
  Pcg32 demo(42, 54);  // the first numbers of the reference implementation's demo
  const std::uint32_t wanted[] = {0xa15c02b7, 0x7b47f409, 0xba1d3330, 0x83d2f293, 0xbfa4784b, 0xcbed606e};
  for (const std::uint32_t value : wanted) CHECK(demo.next() == value);
  std::map<std::uint32_t, int> seen;
  for (int n = 0; n < 30'000; ++n) ++seen[demo.below(3)];
  for (const auto& [value, times] : seen) CHECK((value < 3 && times > 9'600 && times < 10'400));
}

TEST_CASE("the block bootstrap needs ten blocks a side, keeps blocks together and is the same each time") {
  std::vector<Blocked> base;
  std::vector<Blocked> now;
  std::mt19937_64 random(7);
  for (std::uint32_t block = 0; block < 30; ++block) {
    const double of_base = static_cast<double>(random() % 100);
    const double of_now = static_cast<double>(random() % 100);
    for (int n = 0; n < 20; ++n) {  // the values of a block are nearly the same: 30 facts, not 600
      base.push_back({of_base + n * 0.01, block});
      now.push_back({of_now + n * 0.01, block});
    }
  }
  const Bootstrap same = block_bootstrap(base, now);
  CHECK(same.known);
  CHECK(same.replicates == 2000);
  CHECK(same.low < same.shift);
  CHECK(same.high > same.shift);
  const Bootstrap again = block_bootstrap(base, now);
  CHECK((same.low == again.low && same.high == again.high && same.p == again.p));
  // As if the values were independent the interval shrinks several times: this is what blocks are for.
  std::vector<Blocked> alone_base = base;
  std::vector<Blocked> alone_now = now;
  for (std::uint32_t at = 0; at < alone_base.size(); ++at) alone_base[at].block = alone_now[at].block = at;
  const Bootstrap alone = block_bootstrap(alone_base, alone_now);
  CHECK((same.high - same.low) > 2 * (alone.high - alone.low));
  for (Blocked& one : now) one.value += 500;
  const Bootstrap moved = block_bootstrap(base, now);
  CHECK(moved.p < 0.002);
  CHECK(moved.low > 300);
  CHECK_FALSE(block_bootstrap(std::vector<Blocked>{{1, 1}, {2, 2}}, now).known);
}
