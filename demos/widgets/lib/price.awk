# The price of `count` pieces of `id`, less `discount` percent.
$1 == id {
    cents = $3 * count
    cents = int(cents * (100 - discount) / 100)
    printf "%.2f\n", cents / 100
    found = 1
}

END {
    if (!found) {
        print "widgets: no widget is called " id > "/dev/stderr"
        exit 3
    }
}
